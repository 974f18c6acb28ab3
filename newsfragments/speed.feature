PostgreSQL plans each statement once, and storing or deleting a file takes one trip less;
requests of one kind that a client sends without waiting share trips to the database.
