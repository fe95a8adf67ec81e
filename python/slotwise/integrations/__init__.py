"""Adapters for gateways and servers of others. The manual's page "Python hosts" describes them.

Each module imports its host, so import the one that is needed:

- :mod:`slotwise.integrations.litellm`: a callback of LiteLLM's router.
- :mod:`slotwise.integrations.ray_serve`: a request router of Ray Serve.
- :mod:`slotwise.integrations.production_stack`: routing logic of the vLLM production stack.
- :mod:`slotwise.integrations.fastapi`: a dependency that acquires a lease.
- :mod:`slotwise.integrations.asgi`: middleware in front of any proxy; needs no package.
"""
