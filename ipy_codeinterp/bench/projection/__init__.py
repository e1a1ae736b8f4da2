"""What a month will cost, from given or measured figures, and what the article says of that, reckoned anew."""
