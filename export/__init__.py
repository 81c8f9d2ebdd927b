"""The top floor: PyTorch to a proven bundle. Needs the extra `edgeproof[export]`."""
