"""What `vrft doctor` looks at: the machine, the data, the policy. One function a check, each giving a `Finding`."""
