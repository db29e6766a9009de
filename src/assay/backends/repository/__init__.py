# SPDX-License-Identifier: Apache-2.0
"""TUF repositories of releases: the folder that is served, and the client that fetches from it."""
