"""Makes the parts that containers stand on, and the containers' own, of the services.

`ground` is what they stand on, with its `networks`; `launch`, `runs` and `restore` are stages of a
container's life, and `containers` all of it; `audit` compares what these mean with the machine.
"""
