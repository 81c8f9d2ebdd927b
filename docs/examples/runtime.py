"""The bundle that the example above made is proven on this machine, then serves it."""

from PIL import Image

from edgeproof.runtime import Bundle, Runner, verify

bundle = Bundle.open("bundle")  # checks every name, size and hash
replay = verify(bundle, "fp32")
assert replay, "the answers here are not PyTorch's"

with Runner.open(bundle, precision="fp32") as runner:
    prediction = runner.predict(Image.new("RGB", (640, 480), "black"))
assert prediction.top[0].label == "dark"
