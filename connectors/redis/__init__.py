"""Redis: soft state only, one script a batch. Whatever stands in it may be wiped at any time.

slot:{n}        node id that holds gateway slot n; time to live = the lease
routes:{user}   hash device -> "node slot": where the user's devices are connected; time to live a day
directory:{user} hash of the partitions that hold conversations of the user, with "epoch" and, while it is being filled, "mark";
                time to live 30 days
directory       run id of this Redis and name of the epoch in which entries of the directory are known
"""
