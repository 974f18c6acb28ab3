``edit_file`` and ``httpcopy`` work; ``edit_file`` needs no memcached, and never takes a
file's last copy.
