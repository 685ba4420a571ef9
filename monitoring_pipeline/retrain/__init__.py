"""A decision becomes a challenger, its evaluation, and a promotion or the reason against one."""
