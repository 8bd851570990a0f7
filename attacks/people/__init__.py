"""Attacks on people: whose uploads are these, whose profile is this, what kind of person sent it?"""
