"""The proof for 64-bit Arm: a Debian of that architecture, the wheels of the locks, the demo's bundles, a delivery."""
