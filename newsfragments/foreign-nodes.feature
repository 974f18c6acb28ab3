Web servers with DAV (nginx, lighttpd, Apache) were tried as storage nodes for the whole
life of a file, alone and beside nodes of KoboldFS. The size of an empty file is now known
also from servers that do not say it.
