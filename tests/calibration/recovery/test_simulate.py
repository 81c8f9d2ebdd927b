"""The simulation rounds as the INT8 graph does."""

import numpy as np

from edgeproof.calibration.artifact import OnnxArtifact
from edgeproof.calibration.passes.cross_layer_equalization import channel_statistics, find_pairs
from edgeproof.calibration.qdq import tensorrt
from edgeproof.calibration.qdq.quantized_inputs import find_quantized_inputs
from edgeproof.calibration.ranges.statistics import collect_ranges
from edgeproof.calibration.recovery.simulate import QuantizedGraph


def quantize_tensorrt(artifact, *arguments, **options):
    """As a stage does: the model, and where it came from."""
    return artifact.derive(tensorrt.quantize_tensorrt(artifact.model, *arguments, **options), "int8", "int8")


def written(student):
    """The INT8 artifact of what a simulation holds."""
    recovered = student.recovered()
    source = OnnxArtifact(recovered.model, "recovered")
    return quantize_tensorrt(source, recovered.ranges, weight_scales=recovered.weight_scales)


def test_the_graph_that_is_written_computes_what_was_simulated(student, photos, run, answers, relative_error):
    assert relative_error(answers(student.model), run(written(student), photos)["logits"]) < 2e-3


def test_the_simulation_differs_from_float_as_int8_does(network, student, answers, relative_error):
    assert 1e-3 < relative_error(answers(network.model), answers(student.model)) < 0.2


def test_one_layer_alone_does_less_harm_than_all(network, student, answers, relative_error):
    def error(model):
        return relative_error(answers(network.model), answers(model))

    alone = [error(student.only({layer})) for layer in student.layers]
    assert max(alone) < error(student.model) < sum(alone)
    assert error(student.only(set())) < 1e-5


def test_recovered_weights_lie_on_their_grid(student):
    recovered = student.recovered()
    tensors = {tensor.name: tensor for tensor in recovered.model.graph.initializer}
    for name, scales in recovered.weight_scales.items():
        values = np.frombuffer(tensors[name].raw_data, np.float32).reshape(tensors[name].dims)
        grid = values / scales.reshape([-1] + [1] * (values.ndim - 1))
        np.testing.assert_allclose(grid, np.rint(grid), atol=1e-3)


def test_channels_are_scaled_behind_a_layer_that_stays_float(
    build, network_weights, photos, run, answers, relative_error
):
    text = """
    chain (float[batch,3,16,16] image) => (float[batch,8,16,16] out) {
        conv = Conv<pads=[1,1,1,1]>(image, conv_w, conv_b)
        relu = Relu(conv)
        out = Conv<pads=[1,1,1,1], group=8>(relu, depthwise_w, depthwise_b)
    }"""
    used = ("conv_w", "conv_b", "depthwise_w", "depthwise_b")
    chain = build(text, **{name: network_weights[name] for name in used})
    values = [pair.value for pair in find_pairs(chain.model)]
    found = channel_statistics(chain.model, values, [photos])
    limits = {name: channels.maxima for name, channels in found.items()}
    sites = find_quantized_inputs(chain.model, {"conv"})
    simulation = QuantizedGraph(chain.model, sites, collect_ranges(chain.model, [photos]), limits)

    recovered = simulation.recovered()
    int8 = quantize_tensorrt(
        OnnxArtifact(recovered.model, "recovered"),
        recovered.ranges,
        weight_scales=recovered.weight_scales,
        keep_float={"conv"},
    )

    assert set(limits) == {"relu"}
    assert relative_error(answers(simulation.model), run(int8, photos)["out"]) < 2e-3
