"""Two stacks side by side: environments with other releases, what differs between them, and which change did it."""
