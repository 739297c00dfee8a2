"""Redis: soft state only, one script a batch. Whatever stands in it may be wiped at any time.

slot:{n}        node id that holds gateway slot n; time to live = the lease
routes:{user}   hash device -> "node slot": where the user's devices are connected; time to live a day
"""
