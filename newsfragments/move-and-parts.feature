Storage nodes learned MOVE, within a device, and PUT with Content-Range, which replaces or
appends a part of a file without anybody seeing it half done.
