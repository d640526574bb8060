"""The userland proxy: carries what the kernel cannot lead to containers. See `proxy` beside it.

    python -I -S proxy_process <socket's descriptor>

A program of its own, so that clients' traffic is no work of the engine. Each message is a packet on
a SEQPACKET socket and is answered by `ok`: a JSON object, and with a new port its bound socket.
When the engine lets go of the other end, or dies, the ports are closed at once; connections are
carried on to their end, and with the last one it ends. It imports nothing of ours but itself.
"""
