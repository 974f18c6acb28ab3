``koboldfs adopt --database URL`` looked at a database of MogileFS, changing nothing, and
told whether it can be taken over, what is broken in it already, what will be different,
and the commands that lead over and back.
