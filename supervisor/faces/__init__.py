"""Makes the parts that the world speaks to: the API, the cluster, metrics, the observer.

`api` has the servers, what judges requests (`gates`), and the routes, which are imported when the
servers accept already: `quick_routes`, then `routes`, then what first uses of them would wait for.
"""
