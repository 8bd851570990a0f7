"""The rounds over Flower: letters of `securerec.federation.parties` travel as Flower messages through a SuperLink.

No code travels. Flower's own clients install and run whatever app (FAB) the SuperLink hands them; here each party is
one long-lived process of this program that speaks Flower's Fleet API itself and never fetches an app. Likewise the
server: it takes its task from the SuperLink and leaves the app that came with it unread.

Only this package imports flwr.
"""
