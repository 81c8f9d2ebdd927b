"""The top floor: PyTorch to a proven bundle. Needs the extra `edgeproof[export]`.

The pipeline composes the stages; the command is a thin face over the library.
"""
