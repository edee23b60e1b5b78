"""The Autobahn test suite against this library, in both roles: `make autobahn`."""
