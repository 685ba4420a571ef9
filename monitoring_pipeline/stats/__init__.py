"""Pure statistics: numpy and scipy in, numbers out."""
