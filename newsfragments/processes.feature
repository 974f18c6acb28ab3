``--processes N`` had N processes share one node's ports and work, on every database; one
that dies is started anew and takes only its own connections with it.
