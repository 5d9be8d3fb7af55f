"""Sonic Edge: an offline appliance that makes a photo speak."""
