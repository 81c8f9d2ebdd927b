"""A convolution, an activation and a depthwise convolution."""

import pytest

CHAIN = """
chain (float[batch,3,16,16] image) => (float[batch,8,16,16] out) {{
    conv = Conv<pads=[1,1,1,1]>(image, conv_w, conv_b)
    {activation}
    out = Conv<pads=[1,1,1,1], group=8>(between, depthwise_w, depthwise_b)
}}"""


@pytest.fixture
def depthwise_chain(build, network_weights):
    """A convolution, an activation and a depthwise convolution: the model."""

    def chain(activation, **weights):
        chosen = {name: network_weights[name] for name in ("conv_w", "conv_b", "depthwise_w", "depthwise_b")}
        return build(CHAIN.format(activation=activation), **{**chosen, **weights}).model

    return chain
