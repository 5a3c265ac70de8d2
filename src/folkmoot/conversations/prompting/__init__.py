"""What a model is told: as much as has room, in an order that providers' caches like."""
