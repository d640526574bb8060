"""What Wharfinger says to other programs over gRPC: .proto files, and the code made from them.

Only the services, messages and fields in use, with the names and numbers of their owners.
`scripts/gen-protos` writes `protos.generated`, which is committed and not edited.
"""
