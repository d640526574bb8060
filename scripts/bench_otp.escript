#!/usr/bin/env escript
%%! +P 2000000 -kernel logger_level none
%% Times Erlang's simple_one_for_one for bench_otp.py: microseconds per child to start, restart and
%% stop N children, one line of JSON. Usage: bench_otp.escript N
-module(bench_otp).
-mode(compile).
-export([main/1, init/1, start_link/1, child/1]).

main([Count]) ->
    N = list_to_integer(Count),
    process_flag(trap_exit, true),
    {ok, Sup} = supervisor:start_link(?MODULE, N),
    Self = self(),
    {Start, Pids} = timer:tc(fun() -> [start(Sup, Self) || _ <- lists:seq(1, N)] end),
    collect(N),
    {Restart, ok} = timer:tc(fun() -> [exit(P, crash) || P <- Pids], collect(N) end),
    New = [P || {_, P, _, _} <- supervisor:which_children(Sup)],
    N = length(New),
    {One, _} = timer:tc(fun() -> [ok = supervisor:terminate_child(Sup, P) || P <- New] end),
    [start(Sup, Self) || _ <- lists:seq(1, N)],
    collect(N),
    {All, ok} = timer:tc(fun() -> stop(Sup) end),
    Us = [T / N || T <- [Start, Restart, One, All]],
    io:format("{\"start\": ~.3f, \"restart\": ~.3f, \"stop\": ~.3f, \"stop_all\": ~.3f}~n", Us).

start(Sup, Self) ->
    {ok, Pid} = supervisor:start_child(Sup, [Self]),
    Pid.

%% Every child, each time it starts, tells us.
collect(0) -> ok;
collect(N) -> receive started -> collect(N - 1) end.

stop(Sup) ->
    exit(Sup, shutdown),
    receive {'EXIT', Sup, shutdown} -> ok end.

init(N) ->
    Child = #{id => child, start => {?MODULE, start_link, []}},
    {ok, {#{strategy => simple_one_for_one, intensity => 10 * N, period => 3600}, [Child]}}.

start_link(Owner) -> proc_lib:start_link(?MODULE, child, [Owner]).

child(Owner) ->
    proc_lib:init_ack({ok, self()}),
    Owner ! started,
    receive never -> ok end.
