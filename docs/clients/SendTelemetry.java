// Send telemetry: each line of standard input is one sample.
//
//     echo '{"entity": "web-3", "time_ms": 1577842500000, "metrics": {"cpu_usage": 41.5, "errors": null}, "scope": "shop"}' |
//         NPO_BROKER=127.0.0.1:9092 java -cp "$JARS" SendTelemetry.java
//
// Needs Java 17, kafka-clients and jackson-databind.

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

public class SendTelemetry {
    static final String BROKER = System.getenv().getOrDefault("NPO_BROKER", "127.0.0.1:9092");
    static final String TOPIC = System.getenv().getOrDefault("NPO_TOPIC_PREFIX", "npo.") + "telemetry.v1";

    public static void main(String[] arguments) throws Exception {
        var json = new ObjectMapper();
        var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        // Idempotent with acks=all by default: sent again after a lost acknowledgement, a record is stored once.
        Map<String, Object> settings = Map.of("bootstrap.servers", BROKER);
        int sent = 0;
        try (var producer = new KafkaProducer<String, String>(settings, new StringSerializer(), new StringSerializer())) {
            for (String line = input.readLine(); line != null; line = input.readLine(), sent++) {
                // The key keeps the samples of one entity in one partition, in their order.
                String entity = json.readTree(line).get("entity").asText();
                producer.send(new ProducerRecord<>(TOPIC, entity, line)).get();
            }
        }
        System.out.println(sent + " samples are on " + TOPIC);
    }
}
