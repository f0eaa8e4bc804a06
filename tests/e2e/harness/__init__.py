"""What the tests on a real cluster are made of: the cluster, the agents, the gateway, and who asked whom."""
