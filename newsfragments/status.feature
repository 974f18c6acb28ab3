``koboldfs status`` says whether files are safe and what to do: files by their copies, the
oldest that is short, jobs with rates and time left, devices that are away. ``koboldfs why
KEY`` tells everything about one file, with what each copy's checksum is now. A job,
``census``, counts all files and bytes in the background.
