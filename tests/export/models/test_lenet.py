"""LeNet for CIFAR."""


def test_parameters(parameters):
    convolutions = 16 * 75 + 16 + 32 * 16 * 25 + 32
    connected = 800 * 120 + 120 + 120 * 84 + 84 + 84 * 10 + 10
    assert parameters("lenet", 10) == convolutions + connected


def test_shapes(sized, shapes):
    network = sized("lenet", 10)
    assert shapes(network, (3, 32, 32), "features.2", "features.5") == [(16, 14, 14), (32, 5, 5)]
    assert network.classifier[0].in_features == 32 * 5 * 5 == 800


def test_it_trains(trains):
    trains("lenet")


def test_the_export_gives_pytorchs_answers(proven):
    proven("lenet")
