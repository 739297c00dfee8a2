"""Redis holds soft state only: whatever stands in it may be wiped at any time. One script serves a
whole batch.

slot:{n}         id of the node that holds gateway slot n; its time to live is the lease
node:{n}         URL of that node; lives as long
routes:{user}    hash device → "node slot since": where the user's devices are; lives a day
watchers:{user}  sorted set of the slots that watch the user, by when their interest ends (ms)
owner:{stage}:{partition}  host:port of the worker that has the partition; lives some seconds
directory:{user} hash of the partitions that hold conversations of the user, with "epoch" and, while
                 it is being filled, "mark" (the token of the filling); lives 30 days
recent:{log}:{conversation}  the last messages of a conversation that somebody has opened; lives an
                 hour after the last page
directory        run id of this Redis and name of the epoch in which the entries above are valid
remembers        run id of this Redis and since when (ms) it has remembered leases
"""
