collect_ignore = ["tools"]  # tools/test_net.py is a command, not a test
