"""What runs inside the sandbox. It is mounted there as a package of its own and imports nothing of the rest."""
