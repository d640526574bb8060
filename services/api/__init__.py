"""The Engine API, from the sockets to the services: each package imports those below it only.

routes      what each operation does
access      gates before everything that answers
front       what is answered at once, and the app around the routes
filters     what clients search by; streams: answers that go on
types       the engine's values as Docker's JSON
wire        queries, bodies, answers, errors
http        the server; listening: its sockets; versions: what older clients mean
"""
