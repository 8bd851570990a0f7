"""Measurements of whole capabilities: speed here, sweeps over privacy and protocols as they come."""
