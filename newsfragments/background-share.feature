Background jobs work without rests while a tracker gets no requests, and take half of the
time as soon as it does.
