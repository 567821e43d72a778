"""How it moves: topology, engine, embedded servers, serving and the command line."""
