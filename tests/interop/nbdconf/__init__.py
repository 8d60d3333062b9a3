# SPDX-License-Identifier: MIT
"""The demands of the NBD protocol on servers, and a check of each: see ../nbd-conformance."""
