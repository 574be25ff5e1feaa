"""Looking inside of models: how they turn their states, and how their loss depends on what turns them."""
