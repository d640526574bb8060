#!/usr/bin/env escript
%%! +P 1000000 -kernel logger_level none -env ERL_CRASH_DUMP_SECONDS 0
%% Plays scenarios for test_erlang.py on a real OTP supervisor and prints what happened, so that it
%% can be compared with ours. Usage: otp_scenarios.escript FILE
%%
%% FILE holds one Erlang term per scenario (see scenario/1); the output is one line per scenario, in
%% the same order: steps separated by "|", the events of a step by blanks. Events are those of
%% stage.py ("+a", "-a", "xa", "!a", "?a"), then "=" and the reply of a call, "#" and the children in
%% start order with their state, or "down" once the supervisor has ended.
-module(otp_scenarios).
-mode(compile).
-export([main/1, init/1, start_link/2]).

main([File]) ->
    {ok, Scenarios} = file:consult(File),
    Self = self(),
    %% All at once: each spends most of its time waiting for its supervisor to come to rest.
    Pids = [spawn_link(fun() -> Self ! {self(), scenario(S)} end) || S <- Scenarios],
    [receive {Pid, Text} -> io:format("~s~n", [Text]) end || Pid <- Pids].

%% {Flags, Children, Plans, Steps}: sup_flags(), [child()], #{Id => [word()]}, [step()]
scenario({Flags, Children, Plans, Steps}) ->
    process_flag(trap_exit, true),
    Log = spawn_link(fun() -> recorder([], Plans, #{}) end),
    Result = supervisor:start_link(?MODULE, {Flags, [spec(C, Log) || C <- Children]}),
    Texts = case Result of
        {ok, Sup} -> rest(Sup), after_step("", Steps, Sup, Log);
        {error, _} -> [[take(Log), "down"]]
    end,
    unlink(Log), exit(Log, kill),
    lists:join("|", [lists:join(" ", Events) || Events <- Texts]).

spec({Id, Restart, Significant}, Log) ->
    #{id => Id, restart => Restart, significant => Significant, shutdown => 5000,
      start => {?MODULE, start_link, [Id, Log]}}.

steps([], Sup, Log) ->
    exit(Sup, shutdown),
    receive {'EXIT', Sup, _} -> ok end,
    [[take(Log), "down"]];
steps([Step | Rest], Sup, Log) ->
    Reply = step(Step, Sup, Log),
    rest(Sup),
    after_step(Reply, Rest, Sup, Log).

after_step(Reply, Steps, Sup, Log) ->
    try children(Sup) of
        Children -> [[take(Log), Reply, Children] | steps(Steps, Sup, Log)]
    catch exit:_ ->
        receive {'EXIT', Sup, _} -> [[take(Log), Reply, "down"]] end
    end.

step({plan, Id, Words}, _, Log) -> Log ! {plan, Id, Words}, "";
step({'end', Id, How}, _, Log) -> finish(Id, How, Log), "";
step({terminate, Id}, Sup, _) -> reply(supervisor:terminate_child(Sup, Id));
step({restart, Id}, Sup, _) -> reply(supervisor:restart_child(Sup, Id));
step({delete, Id}, Sup, _) -> reply(supervisor:delete_child(Sup, Id));
step({start, Child}, Sup, Log) -> reply(supervisor:start_child(Sup, spec(Child, Log))).

reply(ok) -> "=ok";
reply({ok, undefined}) -> "=none";
reply({ok, _}) -> "=ok";
reply({error, {already_started, _}}) -> "=already_started";
reply({error, boom}) -> "=failed";
reply({error, What}) when is_atom(What) -> io_lib:format("=~s", [What]);
reply({error, {bad_combination, _}}) -> "=bad_spec";
reply({error, _}) -> "=failed".

%% End a child and wait until it has; nothing if it does not run.
finish(Id, How, Log) ->
    case ask(Log, {pid, Id}) of
        none -> ok;
        Pid ->
            Mon = monitor(process, Pid),
            Pid ! {finish, How},
            receive {'DOWN', Mon, process, Pid, _} -> timer:sleep(1) end
    end.

%% Wait until the supervisor has nothing to do: it answers, and no child is restarting.
rest(Sup) -> timer:sleep(3), rest(Sup, 2).
rest(_, 0) -> ok;
rest(Sup, N) ->
    try supervisor:which_children(Sup) of
        Children ->
            timer:sleep(1),
            case lists:keymember(restarting, 2, Children) of
                true -> rest(Sup, 2);
                false -> rest(Sup, N - 1)
            end
    catch exit:_ -> timer:sleep(2)
    end.

children(Sup) ->
    Names = [[atom_to_list(Id), state(Pid)] || {Id, Pid, _, _} <- supervisor:which_children(Sup)],
    ["#" | lists:join(",", lists:reverse(Names))].

state(undefined) -> ":stopped";
state(restarting) -> ":restarting";
state(_) -> ":running".

%% --- the children

init({Flags, Specs}) -> {ok, {Flags, Specs}}.

%% Runs in the supervisor.
start_link(Id, Log) ->
    case ask(Log, {next, Id}) of
        fail -> note(Log, "!", Id), {error, boom};
        ignore -> note(Log, "?", Id), ignore;
        ok -> start(Id, Log);
        {kill, Other} -> finish(Other, crash, Log), start(Id, Log)
    end.

start(Id, Log) ->
    Sup = self(),
    Pid = spawn_link(fun() -> process_flag(trap_exit, true), live(Id, Sup, Log) end),
    note(Log, "+", Id),
    ask(Log, {here, Id, Pid}),
    {ok, Pid}.

live(Id, Sup, Log) ->
    receive
        {'EXIT', Sup, Reason} -> leave("-", Id, Log, Reason);
        {finish, crash} -> leave("x", Id, Log, boom);
        {finish, Reason} -> leave("x", Id, Log, Reason)
    end.

leave(Mark, Id, Log, Reason) ->
    note(Log, Mark, Id),
    ask(Log, {gone, Id}),
    exit(Reason).

%% --- the log, the plans, and who runs

ask(Log, What) ->
    Ref = make_ref(),
    Log ! {ask, self(), Ref, What},
    receive {Ref, Answer} -> Answer end.

note(Log, Mark, Id) -> ask(Log, {note, Mark ++ atom_to_list(Id)}).

take(Log) -> ask(Log, take).

recorder(Events, Plans, Pids) ->
    receive
        {plan, Id, Words} -> recorder(Events, Plans#{Id => Words}, Pids);
        {ask, From, Ref, What} ->
            {Answer, E, P, Q} = record(What, Events, Plans, Pids),
            From ! {Ref, Answer},
            recorder(E, P, Q)
    end.

record(take, E, P, Q) -> {lists:join(" ", lists:reverse(E)), [], P, Q};
record({note, Text}, E, P, Q) -> {ok, [Text | E], P, Q};
record({here, Id, Pid}, E, P, Q) -> {ok, E, P, Q#{Id => Pid}};
record({gone, Id}, E, P, Q) -> {ok, E, P, maps:remove(Id, Q)};
record({pid, Id}, E, P, Q) -> {maps:get(Id, Q, none), E, P, Q};
record({next, Id}, E, P, Q) ->
    case maps:get(Id, P, []) of
        [] -> {ok, E, P, Q};
        [Word | Rest] -> {Word, E, P#{Id => Rest}, Q}
    end.
