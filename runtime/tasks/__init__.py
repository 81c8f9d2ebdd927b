"""What a model's answers mean: classes, a class map, boxes, or values; one file a task.

Lives here: decoding, what parity judges apart, agreement, the metric with labels, a row of output, a drawing.
"""
