"""What other programs may rely on, written from topology and schemas: AsyncAPI document, JSON Schemas, and the lock of v1."""
