"""What both packages need of JetStream: connections, streams, a lease, what errors mean, what is lost when.

Private. It knows no event, workflow or campaign. nats-py is imported here only, with the extra `nats`: its
connection is used, and its helpers for JetStream are not, since they lack atomic batches and cannot tell a
full store from an existing message. Every read goes to the leader of a stream: replicas may lag behind.
"""
