Bytes of a deleted or overwritten file stay for 5 seconds (``kobold_delete_grace_seconds``),
so that a reader that was just told where they are finds them.
