//! TaskQueue on RabbitMQ.
