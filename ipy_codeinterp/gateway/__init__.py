"""The server on loopback: it speaks the providers' wire formats and runs the code in the sandbox."""
