"""edgewise takes a trained ONNX network off the cloud, as far as it will go."""
