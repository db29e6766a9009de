# SPDX-License-Identifier: Apache-2.0
"""What a driver has to do, as tests: one module for each interface, for people who write drivers.

`pytest --pyargs assay.conformance.power --assay-driver=NAME --assay-driver-address=...` runs them on a driver by the
name of its entry point, or as `module:function` before it has one. The built-in drivers pass the same.
"""
