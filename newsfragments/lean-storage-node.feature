The storage node answered plain GET, HEAD, PUT and DELETE requests of copies with half
the work or less: they are read without twisted.web's machinery, which keeps all others;
long files go from the disk to the socket inside the kernel (sendfile); bodies are read
in larger pieces. A node without a tracker no longer loads the database's libraries, and
so takes 20 MB less memory.
