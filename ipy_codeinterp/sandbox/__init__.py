"""Wing B: from a Job to Outputs, on this machine. Known to the gateway and the doctor, never to the client."""
